"""Pictures and videos as files: reading and writing, without any network."""
