"""Eclipse Paho's client tests for MQTT servers, one at a time, each with a limit.

    python outside.py FOLDER HOST PORT        FOLDER: interoperability of paho.mqtt.testing; prints a line "passed NAME" or "failed NAME" for each test

Its two programs take the server's address from globals that they set themselves when they are run, and have endless loops where a server does otherwise than
expected: here they are imported, and each test runs in a process of its own. What they print goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import unittest
import warnings
from types import ModuleType

LIMIT_S = 60
MODULES = {"client_test": "", "client_test5": "client_test5/"}
TOPICS = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
FILTERS = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")


def prepare(name: str, host: str, port: int) -> ModuleType:
    """The module, told what its command line would tell it."""
    module = importlib.import_module(name)
    prefix = MODULES[name]
    topics = {"topics": [prefix + topic for topic in TOPICS], "wildtopics": [prefix + topic for topic in FILTERS]}
    vars(module).update({"host": host, "port": port, "topic_prefix": prefix, "nosubscribe_topics": ("test/nosubscribe",), **topics})
    return module


def passes(test: unittest.TestCase) -> bool:
    """Whether it does, within the limit; in a process of its own."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_S)  # ends the process
        result = unittest.TestResult()
        test.run(result)
        os._exit(0 if result.wasSuccessful() else 1)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    warnings.simplefilter("ignore")
    folder, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sys.path.insert(0, folder)
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for name in MODULES:
        module = prepare(name, host, port)
        module.Test.setUpClass()  # removes sessions and retained messages of former runs
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(module.Test):
            assert isinstance(test, unittest.TestCase)
            said.write(f"{'passed' if passes(test) else 'failed'} {name}: {test.id().rpartition('.')[2]}\n")


if __name__ == "__main__":
    main()
