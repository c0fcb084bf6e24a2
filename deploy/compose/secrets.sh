#!/bin/sh
# Makes the files of secrets that deploy/compose/production.yml mounts: asks for the two that come from elsewhere,
# makes up the others, leaves alone what is there. Without a terminal it reads one line each: Twilio's token, the key.
# What lies in secrets/further (a DATABASE_URL, a second provider's key) it opens to the containers, which find it in
# /run/secrets/further: name it in .env, as in DATABASE_URL_FILE=/run/secrets/further/database_url.
set -eu
directory=${SECRETS_DIR:-$(dirname "$0")/secrets}
mkdir -p "$directory"
# Nobody else gets past the directory; the files are open because compose mounts them as they are, into containers
# that run under accounts of their own.
chmod 700 "$directory"

put() { # NAME: from stdin
    (umask 077 && cat >"$directory/$1.new") && chmod 444 "$directory/$1.new" && mv "$directory/$1.new" "$directory/$1"
}
made_up() { [ -s "$directory/$1" ] || head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' | put "$1"; }
asked() { # NAME QUESTION
    [ -s "$directory/$1" ] && return
    if [ -t 0 ]; then
        printf '%s: ' "$2" >&2
        trap 'stty echo; exit 130' INT TERM
        stty -echo
        IFS= read -r value || value=
        stty echo
        trap - INT TERM
        echo >&2
    else
        IFS= read -r value || value=
    fi
    [ -n "$value" ] || { echo "$1: nothing given; write it into $directory/$1" >&2; exit 1; }
    printf '%s' "$value" | put "$1"
}

made_up postgres_password
made_up metrics_token
made_up grafana_password
asked twilio_auth_token "Twilio's auth token (two, comma-separated, while rotating)"
asked openai_api_key "OpenAI's API key"
mkdir -p "$directory/further"
chmod -R u=rwX,go=rX "$directory/further"
ls -l "$directory" "$directory/further"
