"""The command line, as `python -m ingestion_pipeline`.

Belongs here: calling it. Does not belong here: anything else (`cli/main.py`).
"""

from ingestion_pipeline.cli.main import main

if __name__ == "__main__":
    main(prog_name="poi-ingest")
