"""Places that a traveller needs, from OpenStreetMap and from feeds that somebody else keeps."""
