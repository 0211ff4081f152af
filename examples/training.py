"""Watch tokens that are never trained on gather around one vector, while a model is trained.

The model reads sums such as "12+30=42", character by character: 13 of the 128 ASCII characters.
The other 115 are dead, no target ever. Their rows of the unembedding start at random, and from
then on all get much the same two pushes: weight decay takes 2% of a row at every step, and the
softmax pushes every row that is not the target away from the hidden state. What told them apart
decays away, what they share stays.

With weights in bfloat16 they gather within some hundred steps and then all but freeze: a difference
of fewer than 25 lattice steps loses less than half a step at a time, and rounding may keep it for
ever. What remains is a knot of groups of identical rows around the largest of them, the Big One.
With weights in float32 (measured as bfloat16, as they would be shipped) nothing holds them apart,
and after a thousand steps or so all are one vector, or two that are neighbours:

    python examples/training.py --weights float32 --steps 2000

Of the unembedding only the dead rows are read, on its own device, and only the distinct ones of
them reach the host.
"""

import argparse
import random

import torch
from torch import nn
from torch.nn import functional

import core_tokens

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VOCABULARY, CONTEXT, BATCH = 128, 8, 256


def sums(count: int) -> str:
    """Sums of two numbers below 100, as text."""
    draw = random.Random(0)
    pairs = [(draw.randrange(100), draw.randrange(100)) for _ in range(count)]
    return " ".join(f"{one}+{other}={one + other}" for one, other in pairs)


def train(steps: int, weights: torch.dtype) -> None:
    """Train, and print what becomes of the dead tokens."""
    torch.manual_seed(0)
    text = torch.tensor(list(sums(2000).encode()))
    dead = sorted(set(range(VOCABULARY)) - set(text.tolist()))
    windows = text.unfold(0, CONTEXT + 1, 1).to(DEVICE)
    unembedding = nn.Linear(32, VOCABULARY, bias=False)
    model = nn.Sequential(
        nn.Embedding(VOCABULARY, 8),
        nn.Flatten(),
        nn.Linear(8 * CONTEXT, 32),
        nn.Tanh(),
        unembedding,
    ).to(DEVICE, weights)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=0.01,
        betas=(0.9, 0.95),
        eps=1e-15,  # the gradients of dead rows are tiny, the usual 1e-8 would outweigh them
        weight_decay=2,
    )
    print(f"{len(dead)} dead tokens, weights in {weights}")
    print("  step   loss  vectors  Big One  largest ulp  within 3 ulp")
    for step in range(steps + 1):
        batch = windows[torch.randint(len(windows), (BATCH,))]
        with torch.autocast(DEVICE, torch.bfloat16):
            logits = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.float(), batch[:, -1])
        if step % max(1, steps // 10) == 0:
            measured = core_tokens.measure(unembedding.weight, dead)
            core = core_tokens.core_within(measured, radius=3)
            print(
                f"{step:6} {loss:6.3f} {len(measured.vectors):8} {measured.populations.max():8} "
                f"{measured.distance_ulp.max():12.1f} {len(core.token_ids):13}"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # untyped there
        optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--weights", choices=["bfloat16", "float32"], default="bfloat16")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # enough for so little, and sums in one order
    train(arguments.steps, getattr(torch, arguments.weights))
