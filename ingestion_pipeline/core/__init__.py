"""Types and functions that every package uses: errors, identity, time, places, parallel work."""
