"""Who there is, how they prove it, and what they may do: users, credentials, patterns of permissions, authorize().

Asking those anew who are connected when that changes is front/revocation.py; what users use up is counted in catalogue/quotas.py.
"""
