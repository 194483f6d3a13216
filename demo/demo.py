"""Sends a year of flights through a broker with unmodified clients, and checks every record at the far end.

    pika          publishes every flight to the exchange `flights`, routed by its airport of departure, with confirms
    aio-pika      consumes the queues of two airports, acknowledging by batches
    Celery        works on the flights of the third airport, in tasks of many flights each; results come back through the broker too
    a stream      keeps all of it; aio-pika reads it again from its first record

Nothing is mocked: the broker is a process on free ports, and every message is on the disk before it is confirmed.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import importlib.resources
import io
import json
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aio_pika
import pika
from rich.console import Console
from rich.table import Table

from entrepot.testing import Broker

EXCHANGE = "flights"
ASYNC_AIRPORTS = ("EWR", "JFK")
CELERY_AIRPORT = "LGA"
STREAM = "flights.all"
TASK_FLIGHTS = 2000


@dataclass
class Leg:
    """One way through the broker, as it was seen at its end."""

    what: str
    client: str
    sent: int
    received: int
    seconds: float
    same: bool
