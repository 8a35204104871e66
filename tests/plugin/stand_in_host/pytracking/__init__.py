"""The host of the tests, see README.md beside this package."""
