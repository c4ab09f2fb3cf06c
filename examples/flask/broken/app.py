"""Notes for people who have logged in, with a package that requirements.txt does not name."""

import flask_login

login = flask_login.LoginManager()
