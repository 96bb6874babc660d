//! Puts many mutants into one build: each behind a switch, `crate::mutant::on(number)`.
//!
//! `annals-mutant-switch FROM TO FILE ... < MUTANTS` copies files from one tree to another. A line
//! of MUTANTS is a mutant that cargo-mutants lists: number, file, genre, line and column of its
//! start, replacement, split by tabs. Prints the numbers of those that have a switch now.
//! What a switch cannot do (constants, types that are hidden) is left for cargo-mutants itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// A mutant as cargo-mutants lists it; line from 1 and column from 1, in characters.
struct Mutant {
    number: u32,
    genre: String,
    start: (usize, usize),
    replacement: String,
}

type Range = std::ops::Range<usize>;

/// A place of the source that has switches.
enum Kind {
    /// Both operands, the operator as it is, and the mutants' own operators.
    Binary { left: Range, right: Range, op: String, others: Vec<(u32, String)> },
    /// The operand, the operator.
    Unary { operand: Range, op: String, number: u32 },
    /// A guard, which is replaced by true or by false.
    Guard { others: Vec<(u32, String)> },
    /// The beginning of a function's body: what it returns instead.
    Body { others: Vec<(u32, String)> },
    /// Behind the pattern of an arm that is deleted, with its guard.
    Arm { number: u32, guard: Option<Range> },
}

struct Node {
    range: Range,
    kind: Kind,
}

struct File<'a> {
    text: &'a str,
    lines: Vec<usize>,
    mutants: HashMap<(usize, usize), Vec<&'a Mutant>>,
    nodes: Vec<Node>,
    /// Inside of what is computed when it is built.
    constant: bool,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (from, to) = (args.next().expect("FROM"), args.next().expect("TO"));
    let mut list = String::new();
    std::io::stdin().read_to_string(&mut list).expect("mutants");
    let mut mutants: HashMap<String, Vec<Mutant>> = HashMap::new();
    for line in list.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| parts[at].parse::<usize>().expect("a number");
        mutants.entry(parts[1].to_owned()).or_default().push(Mutant {
            number: parts[0].parse().expect("a number"),
            genre: parts[2].to_owned(),
            start: (number(3), number(4)),
            replacement: parts[5].to_owned(),
        });
    }
    for name in args {
        let text = std::fs::read_to_string(Path::new(&from).join(&name)).expect("a file");
        let mutants = mutants.remove(&name).unwrap_or_default();
        let (text, done) = switched(&text, &mutants);
        std::fs::write(Path::new(&to).join(&name), text).expect("a file");
        for number in done {
            println!("{number}");
        }
    }
}

/// The text with switches, and which mutants have one.
fn switched(text: &str, mutants: &[Mutant]) -> (String, Vec<u32>) {
    let mut by_start: HashMap<_, Vec<_>> = HashMap::new();
    for mutant in mutants {
        by_start.entry(mutant.start).or_default().push(mutant);
    }
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let mut file = File {
        text,
        lines: starts.collect(),
        mutants: by_start,
        nodes: Vec::new(),
        constant: false,
    };
    let tree = syn::parse_file(text).expect("Rust");
    file.visit_file(&tree);
    // Outer ones before what is in them.
    file.nodes.sort_by_key(|node| (node.range.start, std::cmp::Reverse(node.range.end)));
    let mut done = Vec::new();
    let out = file.render(0..text.len(), None, &mut done);
    done.sort_unstable();
    done.dedup();
    (out, done)
}

impl File<'_> {
    fn at(&self, place: LineColumn) -> usize {
        let line = self.lines[place.line - 1];
        let rest = &self.text[line..];
        line + rest.char_indices().nth(place.column).map_or(rest.len(), |(at, _)| at)
    }

    fn range(&self, span: Span) -> Range {
        self.at(span.start())..self.at(span.end())
    }

    /// The mutants of a genre that begin where a span does.
    fn found(&self, span: Span, genre: &str) -> Vec<(u32, String)> {
        if self.constant {
            return Vec::new();
        }
        let start = span.start();
        let all = self.mutants.get(&(start.line, start.column + 1));
        let of_genre = all.into_iter().flatten().filter(|mutant| mutant.genre == genre);
        of_genre.map(|mutant| (mutant.number, mutant.replacement.clone())).collect()
    }

    fn with_constant(&mut self, constant: bool, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.constant, constant);
        visit(self);
        self.constant = before;
    }

    fn body(&mut self, sig: &syn::Signature, block: &syn::Block) {
        let hidden = match &sig.output {
            syn::ReturnType::Type(_, kind) => matches!(**kind, syn::Type::ImplTrait(_)),
            syn::ReturnType::Default => false,
        };
        let (Some(first), false) = (block.stmts.first(), hidden || sig.constness.is_some()) else {
            return;
        };
        let others = self.found(first.span(), "FnValue");
        // The first statement may be an operator's, too; this stands before it, and is empty.
        if !others.is_empty() {
            let at = self.at(block.brace_token.span.open().end());
            self.nodes.push(Node { range: at..at, kind: Kind::Body { others } });
        }
    }

    fn render(&self, range: Range, but: Option<usize>, done: &mut Vec<u32>) -> String {
        let mut out = String::new();
        let mut at = range.start;
        for (index, node) in self.nodes.iter().enumerate() {
            let inside = node.range.start >= at && node.range.end <= range.end;
            // A node holds itself only as a whole.
            if !inside || but.is_some_and(|outer| index <= outer) {
                continue;
            }
            out.push_str(&self.text[at..node.range.start]);
            self.put(&mut out, index, done);
            at = node.range.end;
        }
        out.push_str(&self.text[at..range.end]);
        out
    }

    fn put(&self, out: &mut String, index: usize, done: &mut Vec<u32>) {
        const ON: &str = "crate::mutant::on";
        let node = &self.nodes[index];
        let mut inner = |range: &Range| self.render(range.clone(), Some(index), done);
        let mut text = String::new();
        match &node.kind {
            Kind::Binary { left, right, op, others } => {
                let (l, r) = (inner(left), inner(right));
                done.extend(others.iter().map(|(number, _)| number));
                let choose = |own: &str, l: &str, r: &str| {
                    let mut text = String::new();
                    for (number, other) in others {
                        write!(text, "if {ON}({number}) {{ {l} {other} {r} }} else ")
                            .expect("text");
                    }
                    text + &format!("{{ {l} {own} {r} }}")
                };
                text = match &op[..] {
                    "&&" | "||" => format!("({{ let l__ = {l}; {} }})", choose(op, "l__", &r)),
                    "==" | "!=" | "<" | ">" | "<=" | ">=" => {
                        format!(
                            "(match (&({l}), &({r})) {{ (l__, r__) => {} }})",
                            choose(op, "l__", "r__")
                        )
                    }
                    _ if op.ends_with('=') => format!("{{ {} }}", choose(op, &l, &r)),
                    _ => format!(
                        "(match ({l}, {r}) {{ (l__, r__) => {} }})",
                        choose(op, "l__", "r__")
                    ),
                };
            }
            Kind::Unary { operand, op, number } => {
                let v = inner(operand);
                done.push(*number);
                write!(
                    text,
                    "(match {v} {{ v__ => if {ON}({number}) {{ v__ }} else {{ {op}v__ }} }})"
                )
                .expect("text");
            }
            Kind::Guard { others } => {
                let guard = inner(&node.range);
                done.extend(others.iter().map(|(number, _)| number));
                text.push('(');
                for (number, other) in others {
                    write!(text, "if {ON}({number}) {{ {other} }} else ").expect("text");
                }
                write!(text, "{{ {guard} }})").expect("text");
            }
            Kind::Body { others } => {
                done.extend(others.iter().map(|(number, _)| number));
                for (number, other) in others {
                    // Nothing follows a mutant on its line, so that errors say which it is.
                    write!(text, "\nif {ON}({number}) {{ return {other}; }}\n").expect("text");
                }
            }
            Kind::Arm { number, guard } => {
                let guard = guard.as_ref().map_or_else(|| "true".to_owned(), &mut inner);
                done.push(*number);
                write!(text, " if !{ON}({number}) && ({guard})").expect("text");
            }
        }
        out.push_str(&text);
    }
}

/// Whether an expression says `let` in a condition.
fn has_let(expr: &syn::Expr) -> bool {
    match expr {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for File<'_> {
    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        let others = self.found(expr.op.span(), "BinaryOperator");
        if !others.is_empty() && !has_let(&expr.left) && !has_let(&expr.right) {
            let (left, right) = (self.range(expr.left.span()), self.range(expr.right.span()));
            let op = self.text[self.range(expr.op.span())].to_owned();
            let kind = Kind::Binary { left: left.clone(), right: right.clone(), op, others };
            self.nodes.push(Node { range: left.start..right.end, kind });
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &'ast syn::ExprUnary) {
        if let [(number, _)] = self.found(expr.op.span(), "UnaryOperator")[..] {
            let operand = self.range(expr.expr.span());
            let range = self.at(expr.op.span().start())..operand.end;
            let op = self.text[self.range(expr.op.span())].to_owned();
            self.nodes.push(Node { range, kind: Kind::Unary { operand, op, number } });
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let guard = arm.guard.as_ref().map(|(_, guard)| guard);
        if let [(number, _)] = self.found(arm.span(), "MatchArm")[..]
            && !guard.is_some_and(|guard| has_let(guard))
        {
            let pattern = self.range(arm.pat.span());
            let guard = guard.map(|guard| self.range(guard.span()));
            let end = guard.as_ref().map_or(pattern.end, |guard| guard.end);
            self.nodes.push(Node { range: pattern.end..end, kind: Kind::Arm { number, guard } });
        }
        if let Some(guard) = guard
            && !has_let(guard)
        {
            let others = self.found(guard.span(), "MatchArmGuard");
            if !others.is_empty() {
                let range = self.range(guard.span());
                self.nodes.push(Node { range, kind: Kind::Guard { others } });
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.with_constant(item.sig.constness.is_some(), |file| {
            file.body(&item.sig, &item.block);
            visit::visit_item_fn(file, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.with_constant(item.sig.constness.is_some(), |file| {
            file.body(&item.sig, &item.block);
            visit::visit_impl_item_fn(file, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.body(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.with_constant(true, |file| visit::visit_item_const(file, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.with_constant(true, |file| visit::visit_impl_item_const(file, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.with_constant(true, |file| visit::visit_item_static(file, item));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.with_constant(true, |file| visit::visit_type(file, item));
    }

    fn visit_pat(&mut self, item: &'ast syn::Pat) {
        self.with_constant(true, |file| visit::visit_pat(file, item));
    }

    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.with_constant(true, |file| visit::visit_expr_const(file, item));
    }

    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.with_constant(true, |file| file.visit_expr(&item.len));
    }
}
