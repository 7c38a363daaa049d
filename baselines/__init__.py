"""Token-reduction methods, one file each; every file here is a method and its name is the method's name."""
