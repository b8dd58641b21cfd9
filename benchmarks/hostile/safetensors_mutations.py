"""Ways to damage a safetensors file beyond its bytes: its header's JSON, and values, types and shapes of tensors."""

from __future__ import annotations

from random import Random

import torch
from safetensors.torch import load, save

from benchmarks.hostile.json_mutations import mutate_json
from benchmarks.hostile.mutations import mutate

LENGTH_BYTES = 8
ODD_NUMBERS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 1e-310, 2.0**24, 2.0**31)
ODD_TYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


def mutate_safetensors(data: bytes, random: Random) -> bytes:
    """The file with its bytes, its header or its tensors changed."""
    kind = random.randrange(4)
    if kind == 0:
        return mutate(data, data[::-1], random)
    if kind == 1:
        return _other_header(data, random)
    return save(_other_tensors(load(data), random))


def _other_header(data: bytes, random: Random) -> bytes:
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    header, body = data[LENGTH_BYTES : LENGTH_BYTES + length], data[LENGTH_BYTES + length :]
    header = mutate_json(header, random) if random.random() < 0.8 else mutate(header, body[:256], random)
    claimed = len(header) if random.random() < 0.9 else random.choice((0, 1, 2**31, 2**63, len(data), len(header) + 1))
    return claimed.to_bytes(LENGTH_BYTES, "little") + header + body


def _other_tensors(tensors: dict[str, torch.Tensor], random: Random) -> dict[str, torch.Tensor]:
    for name in random.choices(sorted(tensors), k=random.randint(1, 3)) if tensors else []:
        if name in tensors:
            changed = _other_tensor(tensors[name], random)
            tensors = {n: changed if n == name else t for n, t in tensors.items() if n != name or changed is not None}
    if random.random() < 0.05:
        tensors[random.choice(("extra", "__metadata", ""))] = torch.zeros(random.randint(0, 3))
    return tensors


def _other_tensor(tensor: torch.Tensor, random: Random) -> torch.Tensor | None:
    kind = random.randrange(6)
    if kind == 0:
        return None
    if kind == 1:
        return tensor.to(random.choice(ODD_TYPES))
    if kind == 2:
        shape = random.choice(
            ((), (0,), (1,), (2, 3), (*tensor.shape, 1), (1, *tensor.shape), tuple(tensor.shape[:-1]))
        )
        return torch.full(shape, 1).to(tensor.dtype)
    if kind == 3 and tensor.dim():
        return torch.cat([tensor, tensor], random.randrange(tensor.dim())).contiguous()
    if kind == 4:
        return torch.full_like(tensor.double(), random.choice(ODD_NUMBERS)).to(tensor.dtype)
    changed = tensor.clone()
    flat = changed.view(-1)
    for _ in range(random.randint(1, 4)):
        if flat.numel():
            at = random.randrange(flat.numel())
            flat[at] = torch.tensor(random.choice((*ODD_NUMBERS, float(flat[random.randrange(flat.numel())])))).to(
                tensor.dtype
            )
    return changed
