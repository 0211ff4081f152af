"""The published figures of Qwen3-4B-Instruct-2507 that the replica is built to show.

What was printed by the original analysis; whatever it left open (the other token ids, the signs,
which dimension is which) the replica draws.
"""

MODEL = "Qwen3-4B-Instruct-2507"
VOCAB = 151936
DIMS = 2560
CLUSTER_TOKENS = 2212
CLUSTER_VECTORS = 125

FIRST_IDS = (
    124, 125, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187,
    77150, 80091, 83971, 119346, 119347, 119348, 119349,
)  # fmt: skip
LAST_ID = 151935
PADDING = range(151669, 151936)
"""Rows beyond the tokenizer's last token, which no text can train."""

GROUPS = (
    # population, the first tokens (all of them where there are no more), shell in whole ulp
    (814, (80091, 119346, 119348), 0),
    (704, (125, 177, 178), 2),
    (306, (124, 123876, 123948), 2),
    (228, (124350, 124658, 125147), 1),
    (11, (123939, 131955, 131957), 1),
    (10, (119349, 125087, 126630), 1),
    (6, (126268, 132713, 138041), 0),
    (5, (132383, 132398, 139050), 2),
    (4, (135619, 138490, 140815), 2),
    (4, (136831, 138068, 138072, 139278), 4),
    (3, (126775, 140303, 147056), 2),
    (3, (180, 138979, 141503), 2),
    (2, (126816, 147836), 2),
)
"""The groups of identical rows. The published shells (vectors and tokens per whole ulp) fit these
populations in few ways; this is one of them."""

SHELLS = {0: 34, 1: 24, 2: 61, 3: 3, 4: 2, 32: 1}
"""Vectors per whole ulp."""

FRACTIONAL = {0: (5, 0.375), 1: (5, 1.25), 2: (5, 2.25)}
"""Of a shell, how many vectors lie how far: the 15 of 125 more than 0.1 from a whole ulp."""

FAR_TOKEN, HALO_SINGLE = 83971, 136755
"""The token at 32 ulp, and the one that is alone at 4."""

ORIGIN_INDEX = 60
ORIGIN_NORM = 0.370917
MEDIAN = 235 * 2.0**-16
"""3.585815e-03, the median |component| of the Big One; its ulp is 2**-16."""
ULP = 2.0**-16

VOID_L2 = 0.0036
"""The distance from the cluster to the nearest token outside."""

FAR_DIMENSIONS = {163: (-0.08056640625, -0.080078125), 13: (-0.047607421875, -0.04736328125)}
"""Dimension -> its value in the Big One and in the token at 32 ulp, one lattice step on."""

WIDEST_DIMENSION = 1382
DISTINCT_VALUES = {1: 363, 2: 201, 3: 1070, 4: 187, 5: 86, 6: 161, 7: 92, 8: 35, 9: 67, 10: 75}
"""Distinct values of a dimension over the unique vectors -> dimensions."""
GAPS = 10291
"""Gaps between neighbouring distinct values of a dimension; one value more per dimension."""
MOST_DISTINCT = 84
MOST_DISTINCT_CORE = 82
CORE_VARYING = 2179

NEAREST_EXPONENTS = {
    0: 8106, 1: 1093, 2: 589, 3: 246, 4: 108, 5: 69, 6: 36, 7: 13, 8: 12, 9: 15, 10: 4,
}  # fmt: skip
"""n -> gaps that are nearest to 2**n times the smallest one of their dimension.

Published are those up to 9 as exponents of the gaps that are a power of two. They add up to 10,287,
which is more than there are such gaps and 4 less than there are gaps: so they must be of all gaps,
rounded, and the ten most frequent. The other 4 are further out; that all are at 10 is made up.
"""
OTHER_GAPS = GAPS - 9467
"""Gaps that are not exactly a power of two times the smallest."""
MIXED_DIMENSIONS = DIMS - DISTINCT_VALUES[1] - 1987
"""Dimensions that have such a gap."""

FACE_TREES = (
    # Vectors one lattice step apart in one dimension: each tuple is a vector, given by the steps
    # it takes from its component's first. Degrees 5, 4, 4, 3 x3, 2 x7, 1 x12; 24 edges.
    ((), (1,), (2,), (3,), (4,), (5,), (1, 2), (1, 6), (1, 7), (3, 8), (3, 8, 9), (4, 10)),
    ((), (1,), (2,), (1, 2), (3,), (4,), (1, 5)),
    ((), (1,), (2,), (3,), (1, 4), (1, 5)),
)
