"""The figures published for Qwen3-4B-Instruct-2507, as a second and independent copy.

The replica is built from its own tables; the tests compare what the pipeline finds with these.
"""

FIRST_20_IDS = [
    124, 125, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187,
    77150, 80091, 83971, 119346, 119347, 119348, 119349,
]  # fmt: skip
POPULATIONS = [814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2]
SAMPLE_TOKENS = {
    (814, (80091, 119346, 119348)),
    (704, (125, 177, 178)),
    (306, (124, 123876, 123948)),
    (228, (124350, 124658, 125147)),
    (11, (123939, 131955, 131957)),
    (10, (119349, 125087, 126630)),
    (6, (126268, 132713, 138041)),
    (5, (132383, 132398, 139050)),
    (4, (135619, 138490, 140815)),
    (4, (136831, 138068, 138072)),
    (3, (126775, 140303, 147056)),
    (3, (180, 138979, 141503)),
    (2, (126816, 147836)),
}
SHELLS = {0: (34, 852), 1: (24, 270), 2: (61, 1081), 3: (3, 3), 4: (2, 5), 32: (1, 1)}
HALO_TOKEN_IDS = [83971, 136755, 136831, 138068, 138072, 139278]
DISTINCT_VALUES = {1: 363, 2: 201, 3: 1070, 4: 187, 5: 86, 6: 161, 7: 92, 8: 35, 9: 67, 10: 75}
DEGREES = {0: 97, 1: 12, 2: 7, 3: 3, 4: 2, 5: 1}
GAPS = 10291
POWER_OF_TWO_GAPS = 9467
POWER_OF_TWO_DIMENSIONS = 1987
EXPONENTS = {0: 8106, 1: 1093, 2: 589, 3: 246, 4: 108, 5: 69, 6: 36, 9: 15, 7: 13, 8: 12}
"""As printed, the most frequent first. They add up to 10,287, more than the gaps that are a power
of two, so they are read as the nearest exponents of all gaps, of which 4 remain."""
