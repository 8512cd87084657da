"""The quotas of clients, by client id; nothing here is for Python: see DataPlane.set_client_quotas()."""
