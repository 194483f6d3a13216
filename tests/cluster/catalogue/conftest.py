"""Brokers that follow one, with a connection of the first and of the last."""

import pytest
from brokers import Cluster


@pytest.fixture(params=[2, 3])
def cluster(request):
    cluster = Cluster(request.param)
    cluster.settle()
    return cluster


@pytest.fixture
def here(cluster):
    return cluster.processes[0].connect()


@pytest.fixture
def there(cluster):
    return cluster.processes[-1].connect()
