"""What the site is made of beside its pages: Sphinx extensions of this project."""
