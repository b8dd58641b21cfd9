import numpy as np
import pytest

from harness.training.planes import PlaneStore, StoredPlane


class PlanesInMemory:
    """Canvases of two scenarios with the interface of `PlaneStore`: noise whose rows resemble each other."""

    digest = "in-memory"
    scenarios = ({"id": "one"}, {"id": "two"})

    def __init__(self):
        generator = np.random.default_rng(5)
        self.index, self._canvases = [], []
        for scenario, role, count in (("one", "hidden", 8), ("one", "key", 4), ("two", "hidden", 4)):
            for number in range(count):
                canvas = generator.normal(128, 30, (128, 64)) + generator.normal(0, 30, (1, 64))
                valid = np.ones((128, 64), np.bool_)
                valid[100:] = False
                self._canvases.append((np.clip(canvas, 0, 255).astype(np.uint8), valid))
                held_out, elements = number == 0, int(valid.sum())
                self.index.append(StoredPlane(scenario, role, held_out, len(self.index), 128, 64, elements, 0))

    def read(self, plane: StoredPlane):
        return self._canvases[plane.offset]


@pytest.fixture(scope="session")
def planes() -> PlaneStore:
    return PlanesInMemory()
