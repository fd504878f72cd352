#!/bin/sh
# Makes ca.pem, and server.pem with key.pem for 127.0.0.1, valid for a hundred years. The key of ca.pem is thrown away.
set -eu
cd "$(dirname "$0")"
key=$(mktemp)
new='openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500'
$new -keyout "$key" -out ca.pem -subj '/CN=test authority' -addext keyUsage=critical,keyCertSign
$new -CA ca.pem -CAkey "$key" -keyout key.pem -out server.pem -subj '/CN=test server' \
    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
rm "$key"
openssl version >versions.txt
