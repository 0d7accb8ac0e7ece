"""The command line, as `python -m ingestion_pipeline`."""

from ingestion_pipeline.cli.main import main

if __name__ == "__main__":
    main(prog_name="poi-ingest")
