#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: examples_test.sh FOLDER   (of the built examples)
# The examples as programs: help, refusals, and the files and JSON they leave. Takes seconds: the
# data set is a tiny one made here.
set -eu

bin=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAILED: $1" >&2
    shift
    for file in "$@"; do sed 's/^/    /' "$file" >&2; done
    exit 1
}

# refused STATUS TEXT COMMAND...: it ends with that status, one line on stderr, and the text in it
refused() {
    status=$1 text=$2
    shift 2
    got=0
    "$@" >out 2>err || got=$?
    [ "$got" -eq "$status" ] || fail "$*: exit status $got instead of $status" out err
    [ "$(wc -l <err)" -eq 1 ] || fail "$*: not one line on stderr" err
    grep -q '^error: ' err || fail "$*: no error: line" err
    grep -qF -- "$text" err || fail "$*: no '$text' in the message" err
}

# json KEYS COMMAND...: the last line of its output is a JSON object with these keys
json() {
    keys=$1
    shift
    "$@" >out 2>err || fail "$*" out err
    tail -n 1 out | python3 -c "
import json, sys
missing = set(sys.argv[1].split()) - set(json.loads(sys.stdin.read()))
sys.exit(f'missing in the JSON: {missing}' if missing else 0)" "$keys" || fail "$*" out
}

for example in quickstart own_layer nano_classifier fashion_mnist external_fitness; do
    "$bin/$example" --help >out || fail "$example --help" out
    [ -s out ] || fail "$example --help says nothing"
    got=0
    "$bin/$example" --no-such-option >out 2>err || got=$?
    [ "$got" -ne 0 ] || fail "$example accepts --no-such-option"
    cat out err | grep -q -- --no-such-option || fail "$example does not name the option" out err
done
for example in own_layer nano_classifier fashion_mnist external_fitness; do
    for option in --steps --pop-size --sigma --lr --rank --seed --threads --json; do
        "$bin/$example" --help | grep -q -- "$option" || fail "$example has no $option"
    done
    refused 2 --no-such-option "$bin/$example" --no-such-option
    refused 2 --steps "$bin/$example" --steps many
    refused 2 --seed "$bin/$example" --seed -1
done
refused 2 --fitness "$bin/nano_classifier" --fitness luck
refused 1 pop_size "$bin/nano_classifier" --pop-size 63

# What does not arrive is told.
got=0
"$bin/own_layer" --steps 2 >/dev/full 2>err || got=$?
[ "$got" -eq 1 ] || fail "own_layer says nothing of a full disk behind its stdout" err
grep -q "cannot write to stdout" err || fail "own_layer does not say what failed" err

json "example accuracy steps seed" "$bin/nano_classifier" --steps 2 --json
json "example accuracy steps seed" "$bin/own_layer" --steps 2 --json
grep -q . err && fail "own_layer writes on stderr" err

# In other processes as in this one, and whatever happens to them.
external="$bin/external_fitness --steps 12 --pop-size 16 --json"
json "example fitness controller steps seed" $external --in-process
tail -n 1 out >in_process
for workers in 1 3; do
    $external --workers $workers >out 2>err || fail "external_fitness --workers $workers" out err
    grep -q "workers lost: 0" out || fail "external_fitness lost a worker" out err
    tail -n 1 out | cmp - in_process || fail "$workers workers find something else" out
    $external --workers $workers --kill-one >out 2>err || fail "external_fitness --kill-one" out err
    grep -q "workers lost: 1" out || fail "external_fitness --kill-one lost no worker" out err
    tail -n 1 out | cmp - in_process || fail "a worker less finds something else" out
done
cat >simulator.py <<'PYTHON'
import sys
for line in sys.stdin:
    word, id, n, *numbers = line.split()
    numbers = [float.fromhex(x) for x in numbers]
    print("fitness", id, (-sum(x * x for x in numbers)).hex(), flush=True)
PYTHON
json "fitness controller" $external --command "exec python3 simulator.py"
refused 1 "exit status 3" $external --command "exit 3"
refused 1 "hello" $external --command "while read line; do echo hello; done"
refused 1 "not a request" sh -c "echo hello | '$bin/external_fitness' --worker"
refused 2 --workers $external --workers 0

python3 - <<'PYTHON'
import gzip, os, struct
os.mkdir("data")
for name, count in ("train", 60), ("t10k", 20):
    with gzip.open(f"data/{name}-images-idx3-ubyte.gz", "wb") as out:
        out.write(struct.pack(">4B3I", 0, 0, 8, 3, count, 4, 4))
        out.write(bytes(i % 10 * 25 for i in range(count) for _ in range(16)))
    with gzip.open(f"data/{name}-labels-idx1-ubyte.gz", "wb") as out:
        out.write(struct.pack(">4BI", 0, 0, 8, 1, count))
        out.write(bytes(i % 10 for i in range(count)))
PYTHON
data="--data $work/data"
tiny="$data --steps 4 --pop-size 8 --batch 16 --eval-every 2 --validation 10"
mkdir elsewhere
cd elsewhere
json "example test_accuracy train_seconds generations seed" \
    "$bin/fashion_mnist" $tiny --out ../results/tiny --json
rm out err
[ -z "$(ls)" ] || fail "fashion_mnist --out leaves files elsewhere: $(ls)"
cd ..
[ -s results/tiny/model.safetensors ] || fail "no model.safetensors"
# A line for every generation; the second and the fourth were tested, and a line told of each.
python3 - <<'PYTHON' || fail "curve.csv" results/tiny/curve.csv
import csv
rows = list(csv.DictReader(open("results/tiny/curve.csv")))
assert [row["generation"] for row in rows] == ["0", "1", "2", "3"]
for name in "batch_accuracy", "validation_accuracy", "test_accuracy":
    assert [row[name] != "" for row in rows] == [False, True, False, True], name
seconds = [float(row["train_seconds"]) for row in rows]
assert 0 < seconds[0] and seconds == sorted(seconds)
PYTHON
"$bin/fashion_mnist" $tiny --out results/tiny >out || fail "fashion_mnist over an older curve" out
[ "$(wc -l <results/tiny/curve.csv)" -eq 5 ] || fail "an older curve" results/tiny/curve.csv
[ "$(grep -cE "^generation [24]  .* test .* validation " out)" -eq 2 ] || fail "lines of tests" out
if command -v gnuplot >/dev/null; then
    [ -s results/tiny/curve.png ] || fail "no curve.png"
fi

# The thread count changes no bit.
for model in mlp cnn; do
    "$bin/fashion_mnist" $tiny --model $model --out one --threads 1 >out
    "$bin/fashion_mnist" $tiny --model $model --out three --threads 3 >out
    cmp one/model.safetensors three/model.safetensors ||
        fail "the thread count changes the weights of $model"
done

refused 2 --model "$bin/fashion_mnist" --model rnn
refused 1 --hidden "$bin/fashion_mnist" $data --model cnn --hidden 8
# A run that is stopped by Ctrl-C and gone on with ends as one that was left alone.
# resumed DIRECTORY COMMAND...: stops it once it has saved, and then, elsewhere, does what it says
resumed() {
    directory=$1
    shift
    "$@" --checkpoint "$directory" >out 2>err &
    pid=$!
    until ls "$directory"/checkpoint-* >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || fail "$*: ended without a checkpoint" out err
        sleep 0.01
    done
    kill -INT "$pid"
    got=0
    wait "$pid" || got=$?
    [ "$got" -eq 130 ] || fail "$*: exit status $got after Ctrl-C" out err
    grep -q "^stopped after [0-9]* generations; to go on:" out || fail "$* does not say how" out
    command=$(tail -n 1 out)
    (cd / && sh -c "$command") >out 2>err || fail "$command" out err
    [ ! -s err ] || fail "$command writes on stderr" err
}

# A folder that a shell must be told with care.
mkdir "it's here"
cd "it's here"
other="$bin/nano_classifier --steps 1500 --every 20 --json"
nano="$other --seed 3"
$nano --checkpoint nano-whole >whole
resumed nano-stopped $nano
[ "$(tail -n 1 whole)" = "$(tail -n 1 out)" ] || fail "nano_classifier --resume" whole out
last=checkpoint-0000001500.safetensors
cmp nano-whole/$last nano-stopped/$last || fail "nano_classifier --resume changes the weights"
refused 1 "resume it" $nano --checkpoint nano-stopped
refused 1 "seed is 3 in the checkpoint but 4 here" $other --checkpoint nano-stopped --resume --seed 4
refused 1 "--fitness was nll" $nano --checkpoint nano-stopped --resume --fitness accuracy
shorter="$bin/nano_classifier --steps 1499 --seed 3"
refused 1 "--steps is 1499 but the run in" $shorter --checkpoint nano-stopped --resume
refused 1 "has done 1500 already" $shorter --checkpoint nano-stopped --resume
$nano --checkpoint nano-stopped --resume >again
[ "$(tail -n 1 whole)" = "$(tail -n 1 again)" ] || fail "a run that is over is resumed" again
refused 2 --checkpoint $nano --resume
# A checkpoint that does not fit is told once, on stdout, and the run goes on as far as it can.
refused 1 "File too large" sh -c "ulimit -f 2
    exec '$bin/nano_classifier' --steps 2 --every 1 --checkpoint nano-full"
[ "$(grep -c "^generation 0: .*File too large" out)" -eq 1 ] || fail "trouble is not told" out

# A whole curve too; its columns 9 and 10, seconds, are the clock's.
other="$bin/fashion_mnist $data --steps 4000 --pop-size 32 --eval-every 300 --optimizer adam
    --lr 0.01 --every 40"
mnist="$other --batch 17"
$mnist --out whole-run >whole
resumed mnist-stopped $mnist --out stopped-run
cmp whole-run/model.safetensors stopped-run/model.safetensors ||
    fail "fashion_mnist --resume changes the weights"
for run in whole stopped; do cut -d, -f1-8,11- $run-run/curve.csv >$run.csv; done
cmp whole.csv stopped.csv || fail "fashion_mnist --resume changes the curve" whole.csv stopped.csv
cp stopped-run/curve.csv kept.csv
refused 1 "resume it" $mnist --out stopped-run --checkpoint mnist-stopped
cmp kept.csv stopped-run/curve.csv || fail "a run that is refused cuts the curve of another" kept.csv
refused 1 "--batch was 17" $other --out stopped-run --checkpoint mnist-stopped --resume --batch 18
refused 1 "--steps is 3999 but the run in" "$bin/fashion_mnist" $data --steps 3999 --pop-size 32 \
    --optimizer adam --lr 0.01 --batch 17 --out stopped-run --checkpoint mnist-stopped --resume \
    --accept-changes

# What is in the files.
json "file kind library device generation updates lr sigma run notes tensors" \
    "$bin/eggroll" info nano-whole/$last --json
"$bin/eggroll" info nano-whole/$last whole-run/model.safetensors >out || fail "eggroll info" out
grep -q "generation 1500 after 1500 updates, lr 0.1, sigma 0.1, on cpu" out || fail "eggroll info" out
grep -q "^  0.weight  F32  (64,16)  min " out || fail "eggroll info" out
head -c 900 nano-whole/$last >cut
refused 1 '"cut": ' "$bin/eggroll" info cut
"$bin/eggroll" info cut whole-run/model.safetensors 2>/dev/null >out && fail "eggroll info cut" out
grep -q "^whole-run/model.safetensors: weights" out || fail "eggroll info after a bad file" out
refused 2 FILE "$bin/eggroll" info
# Names and texts cannot write to the terminal what they like.
python3 - <<'PYTHON'
import json, struct
header = json.dumps({"__metadata__": {"k\x1b[2J": "v\x07\n\x7f\u009b é"},
                     "t\x1b]0;": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
with open("controls", "wb") as out:
    out.write(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
PYTHON
"$bin/eggroll" info controls >out || fail "eggroll info" out
grep -qF '  k\x1b[2J  v\x07\x0a\x7f\xc2\x9b é' out || fail "eggroll info writes controls" out
grep -qF '  t\x1b]0;  F32  (1)' out || fail "eggroll info writes controls" out

cd ..
# Folders that cannot be written to are told before there is any data.
refused 1 '--out "simulator.py/run" cannot be written to: Not a directory' \
    "$bin/fashion_mnist" --data /no/such/folder --out simulator.py/run
mkdir locked
chmod a-w locked
[ -w locked ] || refused 1 '--out "locked" cannot be written to: Permission denied' \
    "$bin/fashion_mnist" --data /no/such/folder --out locked
refused 1 "is not a directory" "$bin/fashion_mnist" --data /no/such/folder --checkpoint simulator.py
refused 1 "/no/such/folder" "$bin/fashion_mnist" --data /no/such/folder
refused 1 --batch "$bin/fashion_mnist" $data --batch 61
images=data/train-images-idx3-ubyte.gz
head -c 40 "$images" >cut && mv cut "$images"
refused 1 train-images "$bin/fashion_mnist" $data
rm "$images"
refused 1 train-images "$bin/fashion_mnist" $data
echo "examples: all as they should be"
