"""Content of ``benchmark.json``, the text of ``benchmark.md`` and the pictures."""
