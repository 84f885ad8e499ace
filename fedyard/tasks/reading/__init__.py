"""Ways to a site's own data: what files, folders and databases hold, by the names of columns. They stay here."""
