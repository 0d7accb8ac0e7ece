"""Helper places: what a traveller needs on the way, out of OpenStreetMap and out of feeds."""
