"""The application floor: the command line and the tour; the only room above the front doors."""
