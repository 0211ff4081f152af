"""The files of a checkpoint on this machine: a folder, or one file and what lies beside it."""

from collections.abc import Iterator
from pathlib import Path

from core_tokens import tensors
from core_tokens.checkpoint import CONFIG, TOKENIZER, check_small
from core_tokens.errors import FileError

CHUNK_BYTES = 1 << 22


class Folder:
    """A checkpoint by its path: a safetensors file, or a folder in the Hugging Face layout."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.folder = source if source.is_dir() else source.parent
        self.file = "" if source.is_dir() else source.name

    def names(self) -> list[str]:
        """The names of all files in the folder; of a single file, its own and its company's."""
        if self.file:
            beside = [name for name in (CONFIG, TOKENIZER) if (self.folder / name).is_file()]
            return [self.file, *beside]
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())

    def at(self, name: str) -> str:
        """The path of a file; that of the source for an empty name."""
        return str(self.folder / name if name else self.source)

    def read(self, name: str) -> bytes:
        """A small file as a whole."""
        path = self.folder / name
        check_small(path, path.stat().st_size)
        return path.read_bytes()

    def header(self, name: str) -> tensors.Header:
        """The header of a safetensors file (FileError: see ``tensors.header``)."""
        return tensors.header(self.folder / name)

    def chunks(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """Exactly ``length`` bytes of a file from ``start`` on (FileError if it ends before)."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            while length:
                chunk = file.read(min(CHUNK_BYTES, length))
                if not chunk:
                    raise FileError(
                        self.at(name), "an end before the last row", "a file that keeps still"
                    )
                length -= len(chunk)
                yield chunk
