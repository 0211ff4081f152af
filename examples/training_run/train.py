"""Train a small language model in a minute or two, and keep its unembedding every 25 steps.

    python examples/training_run/train.py

A transformer of two layers learns little stories (stories.py). Its tokenizer was trained on more
than that, on source code and on songs in an invented language. So of 1,024 tokens 516 are in no
story: pieces of code and songs, bytes that no text has, and pieces of words that only ever occur
within a longer token. At step 975 songs join the stories: 75 tokens are no longer dead, 441 remain.

What becomes of their rows is in checkpoints/trajectory.safetensors: `lm_head.weight`, bfloat16
[checkpoints, vocabulary, dimensions], and `steps`, int64[checkpoints]; tokenizer.json is beside it.
Every row starts at random. While its token is dead, it gets the same two pushes as all others:
weight decay shrinks it, and the softmax drives it away from the hidden states. So at an L2 distance
of 0.02 (0.6% of their norm in the end) there is no cluster for 275 steps, and after 350 it holds
all dead tokens. By step 475 it has come apart, in a single dimension, at -0.25: there the lattice
becomes twice as coarse, some rows get over it and move on, the others are rounded back. At step 575
it is whole again. Rows that meet mostly stay together, so unique vectors fall from 516 to 28, and
the Big One grows from 1 token to 194. When the songs begin, 74 tokens leave within 25 steps, and
the last of the 75 by step 1100. The learning rate falls, and what is left freezes: 441 tokens in 26
vectors, 167 of them in the Big One, 299 within 3 ulp. The model learns meanwhile: the loss on
held-out stories falls from 6.9 to 1.2.

In a real training that takes many thousand steps. Here the weight decay of the unembedding is 1.5,
with that of everything else the usual 0.1, so that its rows lose up to 0.45% at a step, about as
much as rounding to bfloat16 can give back. Other seeds end otherwise: with `--seed 1` a group of 93
dead tokens comes off when the songs begin, and stays outside. With `--weights float32` weights are
kept in float32 and rounded for the checkpoints only; then the dead rows come ever nearer, but none
become identical. The same options give the same bytes on the same machine; on another one digits
may differ.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from safetensors.torch import save_file
from stories import texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional

from core_tokens import console
from core_tokens.errors import UsageError
from core_tokens.files import replacing

VOCABULARY, DIMENSIONS, HEADS, CONTEXT, BATCH = 1024, 64, 4, 64, 32
LEARNING_RATE, WARM_UP, LAST_RATE = 3e-3, 50, 0.1  # the last as a share of the first
SONGS_FROM = 0.65  # as a share of all steps
OUTPUT = Path(__file__).parent / "checkpoints"


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_layer = nn.RMSNorm(DIMENSIONS), nn.RMSNorm(DIMENSIONS)
        self.attend = nn.Linear(DIMENSIONS, 3 * DIMENSIONS, bias=False)
        self.attended = nn.Linear(DIMENSIONS, DIMENSIONS, bias=False)
        self.up = nn.Linear(DIMENSIONS, 4 * DIMENSIONS, bias=False)
        self.down = nn.Linear(4 * DIMENSIONS, DIMENSIONS, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """float[batch, context, dimensions] to the same."""
        parts = self.attend(self.before_attention(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.attended(seen.transpose(1, 2).flatten(-2))
        layer: Tensor = self.down(functional.gelu(self.up(self.before_layer(hidden))))
        return hidden + layer


class LanguageModel(nn.Module):
    """A decoder of two blocks, whose unembedding is not tied to its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, DIMENSIONS)
        self.embed_places = nn.Embedding(CONTEXT, DIMENSIONS)
        self.blocks = nn.Sequential(Block(), Block(), nn.RMSNorm(DIMENSIONS))
        self.lm_head = nn.Linear(DIMENSIONS, VOCABULARY, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, windows: Tensor) -> Tensor:
        """The loss, to predict all but the first token of int64[batch, context + 1]."""
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.embed_tokens(windows[:, :-1]) + self.embed_places.weight
            logits = self.lm_head(self.blocks(hidden))
        loss: Tensor = functional.cross_entropy(
            logits.float().flatten(0, 1), windows[:, 1:].flatten()
        )
        return loss


def trained_tokenizer(corpus: Sequence[str]) -> Tokenizer:
    """A byte-level BPE of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def learning_rate(step: int, steps: int) -> float:
    """Up in a line, then down along a cosine."""
    down = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * step / steps)) / 2
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP) * down


def train(steps: int, every: int, weights: torch.dtype, output: Path) -> None:
    """Train, print what becomes of the loss, and write the two files."""
    text = texts()
    tokenizer = trained_tokenizer(list(text.values()))
    ids = {kind: torch.tensor(tokenizer.encode(each).ids) for kind, each in text.items()}
    learnt, held_out = ids["stories"].tensor_split([len(ids["stories"]) * 9 // 10])
    later = torch.cat([learnt, ids["songs"]])
    # Windows follow one another and share a token, the last target of one and the start of the next
    validation = held_out.unfold(0, CONTEXT + 1, CONTEXT)[: 2 * BATCH]

    model = LanguageModel().to(weights)
    unembedding = model.lm_head.weight
    others = [each for each in model.parameters() if each is not unembedding]
    optimizer = torch.optim.AdamW(
        [{"params": [unembedding], "weight_decay": 1.5}, {"params": others, "weight_decay": 0.1}],
        betas=(0.9, 0.95),
        eps=1e-15,  # the gradients of dead rows are tiny, the usual 1e-8 would outweigh them
    )
    dead = torch.ones(VOCABULARY, dtype=torch.bool)
    kept = []
    never = [VOCABULARY - len(set(each.tolist())) for each in (learnt, later)]
    print(
        f"of {VOCABULARY} tokens {never[0]} are in no story, {never[1]} of them in no song either;"
    )
    print(f"weights in {weights}")
    print("  step    loss  validation  dead so far")
    for step in range(steps + 1):
        source = learnt if step < SONGS_FROM * steps else later
        starts = torch.randint(len(source) - CONTEXT, (BATCH, 1))
        windows = source[starts + torch.arange(CONTEXT + 1)]
        loss = model(windows)
        if step % every == 0:
            kept.append(unembedding.detach().to(torch.bfloat16, copy=True))
            if (len(kept) - 1) % 4 == 0:
                with torch.no_grad():
                    unseen = model(validation)
                print(f"{step:6} {loss:7.3f} {unseen:11.3f} {int(dead.sum()):12}", flush=True)
        if step == steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        dead[windows[:, 1:]] = False

    trajectory = {"lm_head.weight": torch.stack(kept), "steps": torch.arange(0, steps + 1, every)}
    with replacing(output / "trajectory.safetensors", output / "tokenizer.json") as (first, second):
        save_file(trajectory, first)
        second.write_text(tokenizer.to_str(), encoding="utf-8")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """As all errors of the project."""
        raise UsageError("train.py", message, self.format_usage().removeprefix("usage: "))


def main(arguments: Sequence[str]) -> None:
    """What the command line asks for."""
    parser = Parser(prog="train.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1500, help="default 1500")
    parser.add_argument("--every", type=int, default=25, help="of the checkpoints, default 25")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="a folder")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches, default 0")
    parser.add_argument("--weights", choices=["bfloat16", "float32"], default="bfloat16")
    given = parser.parse_args(arguments)
    if given.steps < 1:
        raise UsageError("--steps", str(given.steps), "at least 1")
    if not 1 <= given.every <= given.steps:
        raise UsageError("--every", str(given.every), f"1 to {given.steps}, the number of steps")
    if not 0 <= given.seed < 2**63:
        raise UsageError("--seed", str(given.seed), "0 to 2^63 - 1")
    given.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums in one order
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(given.seed)
    train(given.steps, given.every, getattr(torch, given.weights), given.output)


if __name__ == "__main__":
    raise SystemExit(console.run(main))
