"""A store of nothing but folded state, for tests."""


class StateStore:
    """get, scan and fold over one dictionary."""

    def __init__(self, fold):
        self._fold = fold
        self.values = {}

    def fold(self, shard, key, delta):
        value = self._fold(key, self.values.get((shard, key)), delta)
        if value is None:
            self.values.pop((shard, key), None)
        else:
            self.values[shard, key] = value

    def get(self, shard, key):
        return self.values.get((shard, key))

    def scan(self, shard, first, end, limit):
        found = sorted((key, value) for (of, key), value in self.values.items() if of == shard and first <= key < end)
        return found[:limit]
