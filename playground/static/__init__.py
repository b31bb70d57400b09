"""What the pages load: our own styles and scripts, and under `vendor/` pinned libraries with their licences."""
