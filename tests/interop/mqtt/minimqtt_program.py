"""A conversation through MiniMQTT, which CircuitPython's microcontrollers run; prints what it saw as JSON, for test_minimqtt.py to check.

The module `micropython` of such a device stands in for: here `const` has nothing to save.
"""

import json
import socket
import sys
import types

sys.modules["micropython"] = types.SimpleNamespace(const=lambda number: number)  # type: ignore[assignment]

from adafruit_minimqtt.adafruit_minimqtt import MQTT  # noqa: E402

host, port, topic = sys.argv[1], int(sys.argv[2]), sys.argv[3]
said: dict[str, object] = {}
heard: dict[str, list[list[str]]] = {}


def device(name: str, *, clean: bool = True, will: bool = False) -> MQTT:
    made = MQTT(broker=host, port=port, client_id=f"{topic}{name}", socket_pool=socket, is_ssl=False, socket_timeout=0.02, keep_alive=30)
    made.on_message = lambda _, topic, message: heard.setdefault(name, []).append([topic, message])
    if will:
        made.will_set(f"{topic}/will/{name}", "gone", qos=1)
    made.connect(clean_session=clean, session_id=name)  # several on one machine, as no device has them
    return made


def take(client: MQTT, name: str, count: int) -> list[list[str]]:
    """The next messages: what stays away ends with the time limit of whoever runs this."""
    while len(heard.get(name, ())) < count:
        client.loop(0.02)
    return heard.pop(name)


sensor, display = device("sensor", will=True), device("display")
display.subscribe([(f"{topic}/+/state", 1), (f"{topic}/will/#", 0)])
for number in range(20):
    sensor.publish(f"{topic}/sensor/state", number, qos=number % 2)
said["states"] = [int(message) for _, message in take(display, "display", 20)]
sensor.publish(f"{topic}/sensor/config", "{}", retain=True, qos=1)
display.subscribe(f"{topic}/sensor/config")
said["retained"] = take(display, "display", 1)
said["ping"] = len(display.ping())
display.unsubscribe(f"{topic}/+/state")
sensor.publish(f"{topic}/sensor/state", "nobody", qos=1)
sensor._sock.close()
said["will"] = take(display, "display", 1)
display.disconnect()

sleeper = device("sleeper", clean=False)
sleeper.subscribe(f"{topic}/command", qos=1)
sleeper.disconnect()
other = device("other")
for command in ("on", "off"):
    other.publish(f"{topic}/command", command, qos=1)
other.publish(f"{topic}/sensor/config", "", retain=True, qos=1)
sleeper = device("sleeper", clean=False)
said["commands"] = take(sleeper, "sleeper", 2)
sleeper.disconnect()
device("sleeper").disconnect()
other.disconnect()
print(json.dumps(said))
