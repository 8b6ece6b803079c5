"""Fakes and builders that the tests share; nothing here looks at the code under test's insides."""
