# Applies the JSON patch $patch (RFC 6902) to the input. Knows what the host writes: add,
# replace and remove, but no add into an array.

# A pointer as a jq path: within an array a component is an index, within an object a key.
def path_in($object):
  reduce (split("/")[1:][] | gsub("~1"; "/") | gsub("~0"; "~")) as $part ([];
    . as $above
    | . + [if ($object | getpath($above) | type) == "array" then ($part | tonumber) else $part end]);

reduce $patch[] as $operation (.;
  . as $object
  | ($operation.path | path_in($object)) as $path
  | if $operation.op == "remove" then delpaths([$path])
    elif $operation.op == "replace" then setpath($path; $operation.value)
    elif $operation.op == "add" and ($path[-1] | type) == "string" then setpath($path; $operation.value)
    else error("no such operation here: \($operation)")
    end)
