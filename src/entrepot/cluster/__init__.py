"""What makes several processes one broker: the link between two of them, owners in another process (owners/), a catalogue that one decides (catalogue/).

It stands over net/ and broker/, beside the protocols, and knows none of them. Who starts processes, and what is whose, is not here.
"""
