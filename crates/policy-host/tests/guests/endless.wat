;; A policy that accepts any settings and never comes back from `validate`.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"valid\":true}")
  (func (export "__guest_call") (param $operation_len i32) (param $payload_len i32) (result i32)
    (if (i32.eq (local.get $operation_len) (i32.const 8))
      (then (loop $again (br $again))))
    (call $guest_response (i32.const 0) (i32.const 14))
    (i32.const 1)))
