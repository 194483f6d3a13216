"""What there is: namespaces, exchanges, queues, topics and bindings as declared, how that is kept, counted, and made into routes.

Decides and remembers, in shard 0; brings nothing to life: operations/ does. Who may do what is in users/.
"""
