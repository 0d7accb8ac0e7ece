"""Promotion: staged days become public places with stable ids."""
