"""The tests of a deployed stack. Being a package, it gives pytest the end of fixtures with the scope `package`."""
