# keys.sh: where keys and signatures come from.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
need openssl minisign signify-openbsd
models
[ "$(stat -c %a k)" = 600 ] || fail 'the private key can be read by others'
ok pack old.tflite new.tflite -o unsigned.tpb

# sign_and_check KEY PUBKEY: signs a copy of the bundle, then only PUBKEY is trusted.
sign_and_check() {
  cp unsigned.tpb signed.tpb
  ok sign signed.tpb --key "$1"
  ok verify signed.tpb --pubkey "$2"
  refuse 3 'not trusted' verify signed.tpb --pubkey stranger.pub
}
ok keygen -o stranger
sign_and_check k k.pub

# From the environment and from standard input.
RELEASE_KEY=$(cat k)
export RELEASE_KEY
cp unsigned.tpb env.tpb
ok sign env.tpb --key env:RELEASE_KEY
cp unsigned.tpb stdin.tpb
"$TENSORPATCH" sign stdin.tpb --key - <k >"$out" 2>"$err"
same env.tpb stdin.tpb
ok pack old.tflite new.tflite -o packed.tpb --key env:RELEASE_KEY
same packed.tpb env.tpb
refuse 1 'NO_SUCH_KEY' sign unsigned.tpb --key env:NO_SUCH_KEY

# Keys of openssl, minisign and signify.
openssl genpkey -algorithm ed25519 -out ossl 2>/dev/null
openssl pkey -in ossl -pubout -out ossl.pub
sign_and_check ossl ossl.pub
printf 'secret word\nsecret word\n' | minisign -G -p mini.pub -s mini >/dev/null 2>&1
TENSORPATCH_PASSWORD='secret word'
export TENSORPATCH_PASSWORD
sign_and_check mini mini.pub
TENSORPATCH_PASSWORD='wrong word'
refuse 1 'password' sign unsigned.tpb --key mini
unset TENSORPATCH_PASSWORD
signify-openbsd -G -n -p signify.pub -s signify.sec
sign_and_check signify.sec signify.pub
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa 2>/dev/null
refuse 1 '' sign unsigned.tpb --key rsa

# Public keys in other formats are the same key.
for format in pem minisign signify hex; do
  ok pubkey k --format $format
  cp "$out" k.$format
  notes 'key id: '
  ok verify packed.tpb --pubkey k.$format
done
same k.pem k.pub
ok pubkey k.pub --format c
says '.public_key'
refuse 2 '' pubkey k --format yaml

# Several signatures and a threshold; an update's identity does not change.
cp unsigned.tpb many.tpb
ok sign many.tpb --key k --json
json 'j["signature_count"] == 1'
ok sign many.tpb --key ossl --json
json 'j["signature_count"] == 2'
ok sign many.tpb --key k --json
json 'j["signature_count"] == 2'
ok verify many.tpb --pubkey k.pub --pubkey ossl.pub --threshold 2
ok verify many.tpb --pubkey ossl.pub
says '1 signature by keys that were not given'
refuse 3 'not trusted' verify many.tpb --pubkey k.pub --pubkey stranger.pub --threshold 2
refuse 3 'not trusted' verify many.tpb --pubkey k.pub --pubkey k.pem --threshold 2
ok apply old.tflite many.tpb -o made.tflite --pubkey k.pub --pubkey ossl.pub --threshold 2
same made.tflite new.tflite

# An external signer, and bytes carried to a signer and back.
cat >signer.sh <<'END'
#!/bin/sh
cat >tbs.$$ && openssl pkeyutl -sign -inkey "$1" -rawin -in tbs.$$ && rm tbs.$$
END
chmod +x signer.sh
cp unsigned.tpb external.tpb
ok sign external.tpb --signer-cmd './signer.sh ossl' --pubkey ossl.pub
ok verify external.tpb --pubkey ossl.pub
cp unsigned.tpb external2.tpb
refuse 1 '' sign external2.tpb --signer-cmd './signer.sh ossl' --pubkey k.pub
refuse 1 '' sign external2.tpb --signer-cmd false --pubkey k.pub
refuse 1 '' sign external2.tpb --signer-cmd ./no-such-program --pubkey k.pub
ok sign external2.tpb --export-tbs tbs
openssl pkeyutl -sign -inkey ossl -rawin -in tbs -out sig
ok sign external2.tpb --attach sig --pubkey ossl.pub
same external2.tpb external.tpb
refuse 3 'not a signature' sign external2.tpb --attach sig --pubkey k.pub
head -c 63 sig >short.sig
refuse 3 'not a signature' sign external2.tpb --attach short.sig --pubkey ossl.pub
openssl pkeyutl -verify -pubin -inkey ossl.pub -rawin -in tbs -sigfile sig >/dev/null ||
  fail 'openssl does not accept the signature'

# ECDSA P-256, as key services and secure elements have it: by another program only.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256 2>/dev/null
openssl pkey -in p256 -pubout -out p256.pub
refuse 1 'P-256' sign unsigned.tpb --key p256
cp unsigned.tpb p256.tpb
ok sign p256.tpb --signer-cmd './signer.sh p256' --pubkey p256.pub
ok verify p256.tpb --pubkey p256.pub --old old.tflite
ok apply old.tflite p256.tpb -o p256.tflite --pubkey p256.pub
same p256.tflite new.tflite
refuse 3 'not trusted' verify p256.tpb --pubkey k.pub
ok sign p256.tpb --key k
ok verify p256.tpb --pubkey p256.pub --pubkey k.pub --threshold 2
cp unsigned.tpb offline.tpb
openssl pkeyutl -sign -inkey p256 -rawin -in tbs -out sig
ok sign offline.tpb --attach sig --pubkey p256.pub
ok pubkey p256.pub --format hex
cp "$out" p256.hex
ok verify offline.tpb --pubkey p256.hex
ok pubkey p256.pub --format c
says 'TENSORPATCH_ECDSA_P256_SHA256'
refuse 1 'Ed25519' pubkey p256.pub --format minisign
