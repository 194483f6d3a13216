"""A load generator for any AMQP 0-9-1 broker, and the runner that measures Entrepot and its peers with it.

load.py is the generator's command line, run.py the runner's. What is compiled has a .pxd beside it (../setup.py builds it).
"""
