"""The business processes, one a file, each named by what it does. They decide; activities do."""
