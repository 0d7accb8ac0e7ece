"""City x day ingestion of OpenStreetMap points of interest and helper places into staging."""
