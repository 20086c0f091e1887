"""What tests of properties share: masked sequences, objects used again, files, columns, pairs."""
