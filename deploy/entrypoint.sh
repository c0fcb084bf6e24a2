#!/bin/sh
# Fills in the simulated values where no real ones are given: a rule about values, no mode that the program knows.
# Without TWILIO_ACCOUNT_SID, Twilio is the simulator; then, without a model, the model is the simulator too.
set -eu

cast=$(dirname "$0")/../prompts
if [ -d "$cast" ] && [ -n "$(find "$cast" ! -readable -o -type d ! -executable 2>/dev/null)" ]; then
    echo "prompts: what is mounted there is not for this container's user to read; on the host: chmod -R a+rX prompts" >&2
    exit 2
fi

model=${OPENAI_API_KEY:-}${OPENAI_API_KEY_FILE:-}${LLM_PROVIDERS:-}${LLM_PROVIDERS_FILE:-}

if [ -n "${SIMULATOR_INTERNAL_URL:-}" ]; then
    if [ -z "${TWILIO_ACCOUNT_SID:-}" ]; then
        if [ -n "${TWILIO_AUTH_TOKEN:-}${TWILIO_AUTH_TOKEN_FILE:-}" ]; then
            echo "TWILIO_ACCOUNT_SID: missing, but there is a TWILIO_AUTH_TOKEN; set both, or none to simulate" >&2
            exit 2
        fi
        export TWILIO_ACCOUNT_SID=AC51573251573251573251573251573251
        export TWILIO_AUTH_TOKEN=simulated-auth-token
        export TWILIO_WHATSAPP_NUMBER=whatsapp:+15550006000
        export TWILIO_BASE_URL="$SIMULATOR_INTERNAL_URL"
        export PUBLIC_URL="$WEBHOOK_INTERNAL_URL"
        if [ -z "${INSPECT_TOKEN:-}${INSPECT_TOKEN_FILE:-}" ]; then
            export INSPECT_TOKEN=simulated-inspect-token
        fi
        if [ -z "$model" ]; then
            export OPENAI_API_KEY=simulated
            export OPENAI_BASE_URL="$SIMULATOR_INTERNAL_URL/v1"
        fi
    elif [ -z "$model" ]; then
        echo "OPENAI_API_KEY: missing; with a real Twilio account the model must be real too (or set LLM_PROVIDERS)" >&2
        exit 2
    fi
fi

if [ "${1:-} ${2:-}" = "sisters inspect" ] && [ -z "${INSPECT_TOKEN:-}${INSPECT_TOKEN_FILE:-}" ]; then
    echo "INSPECT_TOKEN: not set, so sisters inspect shows nothing and ends"
    exit 0
fi

exec "$@"
