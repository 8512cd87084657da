"""Classic groups: members join, a leader among them assigns, all sync (JoinGroup, SyncGroup, Heartbeat, LeaveGroup)."""
