;; A policy with one answer to everything. {{ANSWER}} and {{ANSWER_LEN}} are filled in by the test.
(module
  (import "wapc" "__guest_response" (func $guest_response (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{{ANSWER}}")
  (func (export "__guest_call") (param i32 i32) (result i32)
    (call $guest_response (i32.const 0) (i32.const {{ANSWER_LEN}}))
    (i32.const 1)))
