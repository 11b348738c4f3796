"""Published tables from configs: every measurement in one file, resumable at any point."""
