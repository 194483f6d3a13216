"""What makes several processes one broker: the link between two of them, so far.

It stands over net/, beside the protocols, and knows none of them. What a broker is asked over a link is not here: links carry frames of octets.
"""
