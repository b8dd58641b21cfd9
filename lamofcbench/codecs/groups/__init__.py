"""What the KV-cache quantisers share: group scales, packed bits, the Hadamard rotation."""
