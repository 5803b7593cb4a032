"""What every process needs and no business knows: settings, logs, database, broker, reads, errors.

Called by the services and the gateway, never inherited from, and importing neither.
"""
