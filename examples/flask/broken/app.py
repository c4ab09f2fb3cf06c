"""Notes for people who have logged in; requirements.txt does not name the package."""

import flask_login

login = flask_login.LoginManager()
