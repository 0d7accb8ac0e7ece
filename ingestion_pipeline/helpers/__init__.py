"""Helper places, such as toilets and cash machines: kinds, rows, licences and links."""
