"""What crosses the port: the calls of protocols with their outcomes, and the requests of a port.Ask with what their results are.

Words only, which every other room may use: what a call does is said in the room that carries it out (front/, operations/, timed/, groups/).
"""
